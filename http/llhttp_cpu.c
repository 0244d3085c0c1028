/* llhttp's parser, built twice: for any machine, and for those with SSE 4.2, where it looks at sixteen bytes of a value
 * at a time and takes two thirds of the time.  Which one runs is decided by the processor. */
#include <llhttp.h>

#include "http/llhttp_cpu.h"

bool llhttp_any_cpu;

int llhttp_execute_plain(llhttp__internal_t *state, const char *p, const char *end);
int llhttp_execute_sse42(llhttp__internal_t *state, const char *p, const char *end);

int llhttp__internal_execute(llhttp__internal_t *state, const char *p, const char *end)
{
	if (__builtin_cpu_supports("sse4.2") && !llhttp_any_cpu)
		return llhttp_execute_sse42(state, p, end);
	return llhttp_execute_plain(state, p, end);
}
