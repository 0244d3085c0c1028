"""All of Nova in one process: API, conductor, scheduler and compute, as their own mains make them, so that messages
between them need no broker. Runs among the unpacked packages.

The mains are not called, since each takes the process for its own; unlike nova-compute's, this one leaves the
database to compute too. Nothing of Nova is changed: the driver is one more module where Nova looks for drivers."""
import nova.cmd         # noqa: F401, it patches for eventlet and has to come first
import os
import sys

import nova.conf
import nova.service
import nova.virt
import os_vif
from nova import config, objects
from nova.compute import rpcapi as compute
from nova.conductor import rpcapi as conductor
from nova.scheduler import rpcapi as scheduler
from oslo_log import log
from oslo_service import service

SERVICES = (('nova-conductor', conductor.RPC_TOPIC), ('nova-scheduler', scheduler.RPC_TOPIC),
            ('nova-compute', compute.RPC_TOPIC))


def main():
    nova.virt.__path__.append(os.path.dirname(os.path.abspath(__file__)))
    config.parse_args(['nova', '--config-file', 'nova.conf'])
    log.setup(nova.conf.CONF, 'nova')
    objects.register_all()
    os_vif.initialize()
    objects.Service.enable_min_version_cache()
    launcher = service.ServiceLauncher(nova.conf.CONF)
    for binary, topic in SERVICES:
        launcher.launch_service(nova.service.Service.create(binary=binary, topic=topic))
    launcher.launch_service(nova.service.WSGIService('osapi_compute'))
    launcher.wait()


if __name__ == '__main__':
    sys.exit(main())
