"""A disk that loses its power: an ext4 in a file, mounted over a loop device, which is shut down without flushing anything,
its journal neither, and is mounted again as a disk is after a power cut.  As root."""
import fcntl
import os
import struct
import subprocess

EXT4_IOC_SHUTDOWN, WITHOUT_FLUSH = 0x8004587d, 2


def make(image, size='64M'):
    subprocess.run(['truncate', '-s', size, image], check=True)
    subprocess.run(['mkfs.ext4', '-q', image], check=True)


def lose_power(path):
    """What was not synced is gone; nothing is written any more."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack('I', WITHOUT_FLUSH))
    finally:
        os.close(fd)
