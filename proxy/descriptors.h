/* The process's file descriptors: how many there may be, and how many connections may take of them. */
#ifndef PROXY_DESCRIPTORS_H
#define PROXY_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

/* Raises the soft limit to the hard one, keeps an eighth free, and returns what there is in all. */
uint64_t descriptors_init(void);
/* What is open now, at the end of the start, is the process's own. */
void descriptors_count_own(void);

/* How many there are in all, and how many of them are in use. */
uint64_t descriptors_all(void);
uint64_t descriptors_used(void);

/* Sockets and pipes of connections, opened (n > 0) or closed. Any thread. */
void descriptors_add(int n);
/* What is left is for connections to instances and sites, and for files: clients have had their part. */
bool descriptors_are_full(void);
/* More than half of that is in use: none are left for what can be done without. */
bool descriptors_are_scarce(void);

#endif
