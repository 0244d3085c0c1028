/* For tests: the parser for any machine is used on every machine. */
#ifndef HTTP_LLHTTP_CPU_H
#define HTTP_LLHTTP_CPU_H

#include <stdbool.h>

extern bool llhttp_any_cpu;

#endif
