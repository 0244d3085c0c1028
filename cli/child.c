/* Starting a tool without being in its way.
 *
 * The tool stays in our process group, so that the terminal is its own: Ctrl-C, Ctrl-\, Ctrl-Z
 * and a hang-up reach it from the kernel.  We must survive these to tell its exit status, and not
 * send them a second time.  What a process sends to our pid alone (kill, a supervisor) it would
 * miss, and we hand it on: the two are told apart by si_code, which is SI_KERNEL (above 0) for
 * the first and SI_USER or less for the second.  A signal that was ignored when we began stays
 * ignored (nohup).
 *
 * Ctrl-Z is the tool's decision: an editor tidies up first, others ignore it.  So we do not stop by that signal, but
 * when the tool has stopped, whyever; else the shell would wait for us for ever, or think us stopped while the tool
 * has the terminal.
 *
 * An exec that fails reports errno through a pipe that exec closes. */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t child_pid;

static const int handed_on[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT };

/* Whether it has been continued since the stop that child_stop_with took note of, though it may have stopped again: what
 * continues our whole group reaches it too, and a second SIGCONT would undo a Ctrl-Z that came in between. */
static bool went_on(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	if (info->si_code <= 0 && child_pid > 0 && (number != SIGCONT || !went_on((pid_t)child_pid)))
		kill((pid_t)child_pid, number);
	errno = saved;
}

static void take_signals(void)
{
	struct sigaction now = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART }, was;

	sigemptyset(&now.sa_mask);
	for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++) {
		if (sigaction(handed_on[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			sigaction(handed_on[i], &now, NULL);
	}
}

static void become(char *const *argv, char *const *vars, const sigset_t *mask, int report_fd)
{
	ssize_t sent;
	int error;

	/* Handlers fall back by exec; SIGPIPE was ignored by us and would stay so. */
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvpe(argv[0], argv, vars);
	error = errno;
	do
		sent = write(report_fd, &error, sizeof(error));
	while (sent < 0 && errno == EINTR);
	_exit(127);
}

/* 0 when exec worked: the pipe was closed by it. */
static int exec_error(int fd)
{
	int error = 0;
	ssize_t n;

	do
		n = read(fd, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	close(fd);
	return n == (ssize_t)sizeof(error) ? error : 0;
}

int child_start(char *const *argv, char *const *vars, pid_t *pid_r, int *error_r)
{
	sigset_t all, before;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC)) {
		*error_r = errno;
		return ERR_BUSY;
	}
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0)
		become(argv, vars, &before, ends[1]);
	*error_r = pid < 0 ? errno : 0;
	close(ends[1]);
	if (pid > 0) {
		child_pid = pid;
		take_signals();
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0) {
		close(ends[0]);
		return ERR_BUSY;
	}
	*error_r = exec_error(ends[0]);
	if (*error_r) {
		waitpid(pid, NULL, 0);
		child_pid = 0;
		return *error_r == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	}
	*pid_r = pid;
	return 0;
}

/* A stop is looked at only: the next call sees whether it lasts. */
enum child_state child_state(pid_t pid, int *status_r)
{
	siginfo_t info = { 0 };
	int status;

	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) || !info.si_pid)
		return CHILD_RUNS;
	if (info.si_code == CLD_STOPPED)
		return CHILD_STOPPED;
	if (waitpid(pid, &status, WNOHANG) != pid)
		return CHILD_RUNS;
	child_pid = 0;
	*status_r = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return CHILD_ENDED;
}

void child_stop_with(pid_t pid)
{
	siginfo_t info;

	waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG);
	raise(SIGSTOP);
	if (!went_on(pid))
		kill(pid, SIGCONT); /* who continued us alone meant both */
	waitid(P_PID, (id_t)pid, &info, WCONTINUED | WNOHANG); /* so that went_on does not speak of this one later */
}
