EXTRA_DIST += \
	examples/demo/compute.py \
	examples/demo/demo.py \
	examples/demo/image.py \
	examples/demo/links.py
