/*
 * shed: whoever holds most goes when a worker holds more in buffers than limits.buffered.
 */
#ifndef ROUTERD_SHED_H
#define ROUTERD_SHED_H

struct worker;

/* After its bufs; from then on it acts by itself. */
void shed_init(struct worker *w);

#endif
