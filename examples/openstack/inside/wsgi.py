"""wsgi.py keystone | placement HOST PORT: serves one of the two that are WSGI applications only. Runs among the
unpacked packages; configuration comes from the working folder."""
import eventlet
eventlet.monkey_patch()
import os               # noqa: E402
import sys              # noqa: E402
import eventlet.wsgi    # noqa: E402


def application(name):
    os.environ[f'OS_{name.upper()}_CONFIG_DIR'] = os.getcwd()
    sys.argv[1:] = []       # both read options
    if name == 'keystone':
        from keystone.server.wsgi import initialize_public_application as make
    else:
        from placement.wsgi import init_application as make
    return make()


if __name__ == '__main__':
    name, host, port = sys.argv[1:]
    app = application(name)
    eventlet.wsgi.server(eventlet.listen((host, int(port)), reuse_port=False), app, log_output=False)
