/*
 * meter: what the load generator measures: latencies, and the CPU time of other processes.
 */
#ifndef BENCH_METER_H
#define BENCH_METER_H

#include <stdint.h>

uint64_t meter_now_ns(void);

/* Latencies: buckets of at most 1/64 of their value. */
void meter_add(uint64_t ns);
void meter_clear(void);
uint64_t meter_count(void);
/* The latency in microseconds that the share `p` of all does not exceed. */
double meter_percentile_us(double p);

/* CPU time in ns of all threads of a process and of the children that it has now; a process that is
 * gone counts nothing. */
uint64_t meter_cpu_ns(int pid);

#endif
