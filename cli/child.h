/* The tool that `scopectl run` starts: exec, signals, exit status. */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Starts argv[0] (found through PATH) with vars. While it runs, signals sent to this process
 * alone are handed on to it, and those the terminal sends to both are left to it. *error_r: errno
 * of a failed exec (then ERR_NOT_FOUND or ERR_IO is returned) or of a failed fork (ERR_BUSY). */
int child_start(char *const *argv, char *const *vars, pid_t *pid_r, int *error_r) MUST_CHECK;
enum child_state { CHILD_RUNS, CHILD_STOPPED, CHILD_ENDED };
/* Of CHILD_ENDED its status as a shell tells it, 128+n for signal n.  Does not wait. */
enum child_state child_state(pid_t pid, int *status_r);
/* The child has stopped (Ctrl-Z): stop too, so that the shell takes over, and go on together when it says so. */
void child_stop_with(pid_t pid);

#endif
