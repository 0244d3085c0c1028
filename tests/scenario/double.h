/* In place of the replicator: what the front hands over is kept and shown, and answered as a scenario says.  Linked
 * with --wrap=replicator_submit. */
#ifndef TESTS_SCENARIO_DOUBLE_H
#define TESTS_SCENARIO_DOUBLE_H

#include "proxy/replicator.h"
#include "tests/scenario/bed.h"

/* This site replicates from now on. 0 or an error. */
int double_begin(struct bed *bed) MUST_CHECK;
/* Takes nothing more. */
void double_fill(void);
/* After bed_fini too: what was not answered is answered with nothing. */
void double_end(void);
void double_answer_all(void);

/* The oldest operation that is not answered, a line for each member; false: there is none. */
bool double_show(struct buf *out);
/* Answers it; answer is taken. False: there is none. */
bool double_answer(struct replicator_answer *answer);
/* Of the application, from its fields' lines. sites: "dc1=201,dc2=queued", or "-"; meta: "-" for none. */
struct replicator_answer *double_make(unsigned status, const char *sites, const char *meta, struct span fields,
                                      struct span content);

#endif
