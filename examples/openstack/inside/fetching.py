"""Nova's fake driver, made to fetch the image as a real one does: by nova.virt.images.fetch, from whatever Glance
answers. What came is kept as instances/ID/disk."""
import os

import nova.conf
from nova.virt import fake, images

CONF = nova.conf.CONF


class FetchingDriver(fake.FakeDriver):
    def spawn(self, context, instance, *args, **kwargs):
        folder = os.path.join(CONF.instances_path, instance.uuid)
        os.makedirs(folder)
        images.fetch(context, instance.image_ref, os.path.join(folder, 'disk'))
        super().spawn(context, instance, *args, **kwargs)
