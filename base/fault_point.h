/* Places where a process may be killed on purpose, so that tests can try each of them.  Nothing of it is in a build
 * without --enable-developer.
 *
 * With the environment variable SCOPEMESH_FAULT_FILE, a process that comes to the point whose name that file holds kills
 * itself, as kill -9 would, and takes the file away. */
#ifndef BASE_FAULT_POINT_H
#define BASE_FAULT_POINT_H

#ifdef SCOPEMESH_FAULT_POINTS
void fault_point(const char *name);
#else
static inline void fault_point(const char *name)
{
	(void)name;
}
#endif

#endif
