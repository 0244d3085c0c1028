"""The configuration files of one site's Keystone, Glance, Placement and Nova, and of the scopemeshd before them.

Each service runs in the site's folder, so paths are relative: a folder copied from the template needs no change but
to the endpoints in Keystone's catalogue. To OpenStack a site's addresses are those of its own scopemeshd, its
Keystone's included: that is all it learns of the mesh."""

PASSWORD = 'secret'
REGION = 'RegionOne'
# Name in scopes, which is the type in the catalogue: (port, path)
SERVICES = {'identity': (5000, '/v3'), 'image': (9292, ''), 'placement': (8778, ''), 'compute': (8774, '/v2.1'),
            'network': (9696, '')}

# What one image at two sites is. Data is taken once and never again (409), so an upload is no update.
IMAGES = """    resources:
      - collection: /v2/images
        id: $.id
        operations:
          - {match: "PUT /{id}/file", kind: append}
          - {match: "PUT /{id}/stage", kind: append}
          - {match: "POST /{id}/actions/deactivate", kind: update}
          - {match: "POST /{id}/actions/reactivate", kind: update}
        volatile: [$.created_at, $.updated_at]
"""

LOGGING = '[DEFAULT]\nuse_stderr = true\nuse_json = false\ndebug = false\n'


def database(name):
    """Without syncing: the databases are thrown away with the site."""
    return f'connection = sqlite:///{name}.db\nsqlite_synchronous = false\n'


def user(identity):
    """How a service logs in, to check tokens and to call others."""
    return (f'auth_type = password\nauth_url = {identity}/v3\nusername = service\npassword = {PASSWORD}\n'
            f'project_name = service\nuser_domain_id = default\nproject_domain_id = default\nregion_name = {REGION}\n')


def token_check(identity):
    return (f'[keystone_authtoken]\nwww_authenticate_uri = {identity}\ninterface = public\n'
            'service_token_roles = service\nservice_token_roles_required = true\n' + user(identity))


def keystone(_):
    return (LOGGING + '[database]\n' + database('keystone') +
            '[token]\nprovider = fernet\n[fernet_tokens]\nkey_repository = fernet-keys\n'
            '[fernet_receipts]\nkey_repository = fernet-keys\n[credential]\nkey_repository = credential-keys\n'
            '[identity]\npassword_hash_rounds = 4\n')


def glance(at):
    host, _, port = at['image app'].rpartition(':')
    return (LOGGING + f'bind_host = {host}\nbind_port = {port}\nworkers = 0\n'
            'node_staging_uri = file://{dir}/staging\n'
            '[database]\n' + database('glance') +
            '[glance_store]\nstores = file\ndefault_store = file\nfilesystem_store_datadir = images\n'
            '[paste_deploy]\nflavor = keystone\nconfig_file = {root}/usr/share/glance-common/glance-api-paste.ini\n' +
            token_check(f'http://{at["identity"]}'))


def placement(at):
    return (LOGGING + '[placement_database]\n' + database('placement') + '[api]\nauth_strategy = keystone\n' +
            token_check(f'http://{at["identity"]}'))


def nova(at):
    host, _, port = at['compute app'].rpartition(':')
    login = user(f'http://{at["identity"]}') + 'valid_interfaces = public\n'
    return (LOGGING + f'host = compute-{{site}}\nmy_ip = {host}\nosapi_compute_listen = {host}\n'
            f'osapi_compute_listen_port = {port}\ncompute_driver = fetching.FetchingDriver\ntransport_url = fake://\n'
            'periodic_fuzzy_delay = 0\n'
            'instances_path = {dir}/instances\nstate_path = {dir}\n'
            '[database]\n' + database('nova') + '[api_database]\n' + database('nova_api') +
            '[wsgi]\napi_paste_config = {root}/usr/share/nova-common/api-paste.ini\n'
            '[scheduler]\ndiscover_hosts_in_cells_interval = 2\n[oslo_concurrency]\nlock_path = {dir}/locks\n'
            '[quota]\ninstances = -1\ncores = -1\n'
            '[glance]\nvalid_interfaces = public\n[service_user]\nsend_service_user_token = true\n' + login +
            '[placement]\n' + login + '[neutron]\n' + login + token_check(f'http://{at["identity"]}'))


def scopemeshd(site, at):
    services = ''.join(f'  {s}:\n    listen: "{at[s]}"\n    instances: ["http://{at[s + " app"]}"]\n'
                       f'{IMAGES if s == "image" else ""}' for s in SERVICES)
    return (f'site: {site}\nstate: ./state\nworkers: 1\nservices:\n{services}'
            f'mesh: {{listen: "{at["mesh"]}", tls: {{insecure: true}}}}\nregistry: {{file: sites.yaml}}\n'
            f'admin: {{listen: "{at["admin"]}"}}\n'
            'scope:\n  carriers: [header, baggage, "correlate:traceparent", "correlate:x-request-id", '
            '"correlate:x-openstack-request-id"]\n'
            'log: {access: access.log}\n')
