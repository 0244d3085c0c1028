/* Prints the reference manual of the options: `make reference` writes docs/reference.md with it. */
#include <stdio.h>

#include "proxy/conf.h"

int main(void)
{
	struct buf b;
	int failed;

	buf_init(&b, NULL, 0);
	conf_print_manual(&b);
	failed = b.failed || fwrite(buf_span(&b).p, 1, buf_len(&b), stdout) != buf_len(&b) || fflush(stdout);
	buf_fini(&b);
	return failed;
}
