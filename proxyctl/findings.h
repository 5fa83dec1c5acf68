/*
 * findings: what is wrong with a configuration, as daemons say it in JSON.
 */
#ifndef PROXYCTL_FINDINGS_H
#define PROXYCTL_FINDINGS_H

#include "libcommon/err.h"

struct json_t;

/* An array of {"file", "line", "col", "level", "path", "text"}; a new reference. */
struct json_t *findings_json(const struct errs *errs);
/* Add those of such an array (NULL: none). */
void findings_add(struct errs *errs, const struct json_t *array);

#endif
