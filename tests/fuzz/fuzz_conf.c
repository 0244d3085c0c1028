/* The configuration from arbitrary YAML.  What must hold: an error is said in words; what is accepted prints as a
 * configuration that is accepted again and prints the same (--print). */
#include "tests/fuzz/machine.h"

static int load(struct span text, struct conf **conf_r, struct buf *errors)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC), rc;
	char path[64];

	REQUIRE(fd >= 0 && (!text.n || write(fd, text.p, text.n) == (ssize_t)text.n));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*conf_r = NULL;
	rc = conf_load(path, conf_r, errors);
	close(fd);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf errors, first, second;
	struct conf *conf, *again;

	if (size > MACHINE_INPUT_BYTES)
		return 0;
	log_set_level(LOG_ERROR);
	buf_init(&errors, NULL, 0);
	buf_init(&first, NULL, 0);
	buf_init(&second, NULL, 0);
	if (load(span_make((const char *)data, size), &conf, &errors)) {
		REQUIRE(buf_len(&errors) && !conf);
	} else {
		conf_print(conf, &first);
		if (load(buf_span(&first), &again, &errors))
			fprintf(stderr, "%s\n%s\n", buf_cstr(&first), buf_cstr(&errors));
		REQUIRE(again);
		conf_print(again, &second);
		REQUIRE(span_eq(buf_span(&first), buf_span(&second)));
		conf_unref(&again);
		conf_unref(&conf);
	}
	buf_fini(&errors);
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}
