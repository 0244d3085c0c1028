/* Plays scenario files: "ok NAME" or "FAIL NAME: FILE:LINE: why" each, at the end "N passed, N failed, 0 skipped". */
#include <stdio.h>

#include "base/log.h"
#include "tests/scenario/play.h"

static int passed, failures;

static void perform(const struct script *script)
{
	static struct play p;

	if (play_script(&p, script)) {
		printf("ok %s\n", script->name);
		passed++;
	} else {
		printf("FAIL %s: %s\n", script->name, p.why);
		failures++;
	}
}

int main(int argc, char **argv)
{
	log_set_level(LOG_ERROR);
	for (int i = 1; i < argc; i++)
		play_file(argv[i], perform);
	printf("%d passed, %d failed, 0 skipped\n", passed, failures);
	return failures || !passed;
}
