"""A global option of the OpenStack client: --scope TEXT, or OS_SCOPE in the environment.

Whatever the command, all requests it makes carry the text as X-Scope; scopemeshd checks it. Loaded through the
entry point openstack.cli.extension, which asks for the names in capitals; the client stays as it is."""
import functools

from osc_lib import utils
from osc_lib.clientmanager import ClientManager

API_NAME = 'scope'
API_VERSION_OPTION = 'os_scope_api_version'
DEFAULT_API_VERSION = ''        # no version: the plugin adds no commands


def build_option_parser(parser):
    parser.add_argument('--scope', metavar='<scope>', default=utils.env('OS_SCOPE'),
                        help="Where each service runs, e.g. 'compute: dc1, image: dc2' (Env: OS_SCOPE)")
    return parser


def scoped(setup_auth):
    @functools.wraps(setup_auth)
    def setup_auth_and_scope(manager):
        setup_auth(manager)
        scope = manager.get_configuration().get('scope')
        if scope:
            # In a scope a line end is a blank, in a header it is the end. Headers go out as Latin-1, names are UTF-8
            text = scope.replace('\r', ' ').replace('\n', ' ')
            manager.session.additional_headers['X-Scope'] = text.encode().decode('latin-1')
    return setup_auth_and_scope


# Every command gets its one session here, before its first request: the one place that reaches all of them
ClientManager.setup_auth = scoped(ClientManager.setup_auth)
