/* Counters with one writer and any number of readers.  A cell is an atomic, so that counting is a plain load and store,
 * and a reader never sees half a number. */
#ifndef BASE_COUNTER_H
#define BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t counter;

static inline void counter_add(counter *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t counter_get(const counter *c)
{
	return atomic_load_explicit((counter *)(uintptr_t)c, memory_order_relaxed);
}

/* Upper bounds of the histogram's buckets in microseconds; one more bucket holds the rest. */
#define HISTOGRAM_BUCKETS 16
extern const int64_t histogram_bucket_us[HISTOGRAM_BUCKETS];

struct histogram {
	counter bucket[HISTOGRAM_BUCKETS + 1];
	counter sum_us, count;
};

void histogram_add(struct histogram *h, int64_t us);

#endif
