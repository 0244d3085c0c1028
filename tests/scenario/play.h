/* Reads scenario files and plays them; the language is described on top of play.c. */
#ifndef TESTS_SCENARIO_PLAY_H
#define TESTS_SCENARIO_PLAY_H

#include "base/buf.h"
#include "tests/scenario/bed.h"

/* One scenario of a file. */
struct script {
	const char *file;
	char name[128];
	struct conf *conf;          /* borrowed */
	struct registry *reg;
	struct { int number; char *text; } *lines;
	size_t count;
};

#define PLAY_CREATES 8

struct play {
	const struct script *script;
	struct bed bed;
	bool tolerant;              /* what does not come as expected is passed over, not a failure */
	struct { char name[16]; struct bed_end *end; } names[BED_ENDS];
	size_t name_count, dials_seen;
	uint64_t creates[PLAY_CREATES]; /* their tickets */
	char why[512];
	bool failed;
};

/* Reads a file and gives each scenario to perform.  Ends the program when the file cannot be read. */
void play_file(const char *path, void (*perform)(const struct script *script));
/* Plays a scenario; false when something is not as expected (p->why).  */
bool play_script(struct play *p, const struct script *script);
/* In steps: 0 or an error of bed_init, then every line, then the end. */
int play_begin(struct play *p, const struct script *script);
void play_lines(struct play *p);
void play_end(struct play *p);
/* The next connection that the proxy dials and that no line has named yet, or NULL. */
struct bed_end *play_next_dial(struct play *p);

#endif
