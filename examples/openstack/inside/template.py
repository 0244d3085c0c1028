"""template.py keystone | glance | placement | nova: makes a service's databases in the working folder, by its own
migrations, and puts into them what both sites are to have in common. Runs among the unpacked packages.

Both sites get copies: a token of one holds at the other, since users, projects and the keys that tokens are signed
with are the same, and flavors have the same names."""
import os
import sys
import uuid

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from conf import PASSWORD, REGION, SERVICES     # noqa: E402


def keystone():
    import keystone.conf
    from keystone.cmd import bootstrap
    from keystone.common import fernet_utils, sql
    from keystone.common.sql import upgrades
    keystone.conf.configure()
    sql.initialize()
    conf = keystone.conf.CONF
    conf(['--config-file', 'keystone.conf'], project='keystone')
    upgrades.offline_sync_database_to_version()
    for group, section in (('fernet_tokens', conf.fernet_tokens), ('credential', conf.credential)):
        keys = fernet_utils.FernetUtils(section.key_repository, 3, group)
        keys.create_key_directory()
        keys.initialize_key_repository()
    work = bootstrap.Bootstrapper()
    work.admin_username, work.admin_password, work.project_name = 'admin', PASSWORD, 'admin'
    work.admin_role_name, work.region_id = 'admin', REGION
    work.bootstrap()
    users_and_catalogue(work)


def new(create, **ref):
    ref['id'] = uuid.uuid4().hex
    create(ref['id'], ref)
    return ref['id']


def users_and_catalogue(work):
    from keystone.common import provider_api
    api = provider_api.ProviderAPIs
    service_role = new(api.role_api.create_role, name='service')
    for name, roles in (('demo', [work.member_role_id]), ('service', [work.admin_role_id, service_role])):
        project = new(api.resource_api.create_project, name=name, domain_id='default', enabled=True)
        user = api.identity_api.create_user({'name': name, 'password': PASSWORD, 'domain_id': 'default',
                                             'enabled': True})
        for role in roles:
            api.assignment_api.add_role_to_user_and_project(user['id'], project, role)
    for kind, (_, path) in SERVICES.items():
        service = new(api.catalog_api.create_service, name=kind, type=kind, enabled=True)
        # 'http://image' stands for the address that the site's scopemeshd will have
        new(api.catalog_api.create_endpoint, interface='public', url=f'http://{kind}{path}', service_id=service,
            region_id=REGION, enabled=True)


def glance():
    from glance.cmd.manage import main
    sys.argv = ['glance-manage', '--config-file', 'glance-api.conf', 'db_sync']
    main()


def placement():
    from placement.cmd.manage import main
    sys.argv = ['placement-manage', '--config-file', 'placement.conf', 'db', 'sync']
    main()


def nova():
    import nova.cmd     # noqa: F401, it patches for eventlet and has to come first
    import shutil
    from nova import config, context, objects
    from nova.db import migration
    config.parse_args(['nova', '--config-file', 'nova.conf'])
    migration.db_sync(database='api')
    migration.db_sync()
    shutil.copy('nova.db', 'nova_cell0.db')
    objects.register_all()
    admin = context.get_admin_context()
    for cell, name, transport, database in ((objects.CellMapping.CELL0_UUID, 'cell0', 'none:///', 'nova_cell0.db'),
                                            (str(uuid.uuid4()), 'cell1', 'fake://', 'nova.db')):
        objects.CellMapping(admin, uuid=cell, name=name, transport_url=transport,
                            database_connection=f'sqlite:///{database}').create()
    objects.Flavor(admin, flavorid='1', name='tiny', memory_mb=64, vcpus=1, root_gb=1, ephemeral_gb=0, swap=0,
                   rxtx_factor=1.0, is_public=True, disabled=False).create()


if __name__ == '__main__':
    {'keystone': keystone, 'glance': glance, 'placement': placement, 'nova': nova}[sys.argv[1]]()
