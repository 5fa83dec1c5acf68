/*
 * h2_mem: nghttp2's memory, from free lists of one worker: it takes several small pieces per stream
 * and per header section, and gives them back soon.
 */
#ifndef ROUTERD_H2_MEM_H
#define ROUTERD_H2_MEM_H

#include <stdbool.h>

#include <nghttp2/nghttp2.h>

struct h2_mem;

struct h2_mem *h2_mem_new(void);
/* Nothing of it is in use any more. NULL is fine. */
void h2_mem_free(struct h2_mem *m);
/* Good as long as m. */
nghttp2_mem *h2_mem_of(struct h2_mem *m);
/* Free what was not needed since the last trim; true: there is more to free, later. */
bool h2_mem_trim(struct h2_mem *m);

#endif
