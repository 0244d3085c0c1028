#include "base/counter.h"

const int64_t histogram_bucket_us[HISTOGRAM_BUCKETS] = { 100,   250,    500,    1000,   2500,    5000,    10000,   25000,
	                                                 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000 };

void histogram_add(struct histogram *h, int64_t us)
{
	int i = 0;

	while (i < HISTOGRAM_BUCKETS && us > histogram_bucket_us[i])
		i++;
	counter_add(&h->bucket[i], 1);
	counter_add(&h->sum_us, us > 0 ? (uint64_t)us : 0);
	counter_add(&h->count, 1);
}
