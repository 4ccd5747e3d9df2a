/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside the control directory only: its files, their texts and the commands. */
#ifndef CTL_I_H
#define CTL_I_H

#include <stdio.h>

#include "fuse_i.h"

/* Write the text as of now. May block if its entry says slow. 0 or -errno. */
typedef int ctl_text_fn(struct mnt *m, FILE *out);

/* One file. The tables end with a NULL name. */
struct ctl_entry {
	const char	*name;
	ctl_text_fn	*text;	/* NULL: not to be read */
	bool		slow;	/* text may wait for the device */
	/* What a line written to it does, as ctl_command; NULL: not to be written. */
	int		(*write)(struct mnt *m, const char *line, atomic_bool *stop);
	bool		long_write;	/* no other command shall wait for it */
};

#define CTL_MAX_WORDS	8

/* The words of a command, which come from another program: each is checked. */
struct ctl_args {
	struct mnt	*m;
	int		nr;
	char		*word[CTL_MAX_WORDS];
	atomic_bool	*stop;	/* asks to end early */
};

/* One command. May block. The tables end with a NULL name. */
struct ctl_cmd {
	const char	*name;
	int		(*run)(struct ctl_args *c);	/* 0 or -errno */
	int		min, max;	/* words, the name included */
};

/* ---- ctl-text.c: what both formats have ---- */

ctl_text_fn ctl_text_version, ctl_text_zones;

struct ctl_row {
	const char	*name;
	uint64_t	value;
};
void ctl_put_rows(FILE *out, const struct ctl_row *rows, unsigned nr);
/* "name value", what would break the line replaced. */
void ctl_put_text(FILE *out, const char *name, const char *value);
void ctl_put_uuid(FILE *out, const char *name, const uint8_t *bytes);
/* The daemon and the device m->devs[0], with these numbers of zones. */
void ctl_put_device(FILE *out, const struct mnt *m, uint32_t nr_zones, uint32_t nr_conv);
/* Call put for every zone of every device. 0 or -errno. */
int ctl_each_zone(struct mnt *m, FILE *out,
		  void (*put)(struct mnt *m, FILE *out, uint32_t zno,
			      const struct zdev_zone *z));

/* ---- ctl-cmd.c ---- */

int ctl_cmd_inject(struct ctl_args *c);

/* ---- the tables ---- */

extern const struct ctl_entry zone_ctl_entries[], block_ctl_entries[];
extern const struct ctl_cmd zone_ctl_commands[], block_ctl_commands[];

#endif
