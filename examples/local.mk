EXTRA_DIST += examples/demo examples/openstack examples/realapps
