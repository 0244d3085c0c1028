#!/usr/bin/python3
"""What takes too long for every build: 2 GiB to three sites (./bootstrap check-long)."""
import shutil
import tempfile

import harness
import test_replication_restart as restart

SIZE = 2 << 30


def test_two_gibibytes_reach_three_sites_in_bounded_memory(bed):
    if shutil.disk_usage(tempfile.gettempdir()).free < 4 * SIZE:
        raise harness.Skip('three sites would spool more than this disk has')
    restart.test_a_large_body_reaches_three_sites_in_bounded_memory(bed, SIZE)


def test_two_gibibytes_outlive_kills(bed):
    if shutil.disk_usage(tempfile.gettempdir()).free < 4 * SIZE:
        raise harness.Skip('three sites would spool more than this disk has')
    restart.SIZE = SIZE
    restart.killed_within(bed, 'dc1')


if __name__ == '__main__':
    harness.main(globals())
