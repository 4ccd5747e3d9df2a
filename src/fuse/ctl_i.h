/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside the control directory only: the makers of its texts (ctl-text.c). */
#ifndef CTL_I_H
#define CTL_I_H

#include <stdio.h>

#include "fuse_i.h"

/* Write the text as of now. May block if its entry says slow. 0 or -errno. */
typedef int ctl_text_fn(struct mnt *m, FILE *out);

ctl_text_fn ctl_text_max_wro, ctl_text_nr_wro, ctl_text_max_active, ctl_text_nr_active,
	    ctl_text_version, ctl_text_info, ctl_text_stats, ctl_text_zones,
	    ctl_text_lengths;

#endif
