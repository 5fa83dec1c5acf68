/*
 * answer_texts: the variables in a route's own answers, `redirect` and `respond`, compiled.
 */
#ifndef ROUTERD_ANSWER_TEXTS_H
#define ROUTERD_ANSWER_TEXTS_H

#include "routerd/config.h"
#include "routerd/template.h"

/* A template without parts stands for what is not there. */
struct answer_texts {
	struct template host; /* redirect */
	struct template path;
	struct template body; /* respond */
	struct template headers[CONFIG_RESPOND_HEADERS];
};

/* NULL when the route has no variables there. The configuration has been checked. */
const struct answer_texts *answer_texts_new(const struct routecfg *c, struct arena *a);

#endif
