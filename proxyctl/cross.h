/*
 * cross: what no daemon can check alone, since it lies between two sections.
 */
#ifndef PROXYCTL_CROSS_H
#define PROXYCTL_CROSS_H

#include "libcommon/cfg.h"

void cross_check(const struct cfg *cfg, struct errs *errs);

#endif
