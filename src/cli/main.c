/* SPDX-License-Identifier: BSD-2-Clause */
/* zonefsctl: the table of commands, and the way to the one that was asked for. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const struct cmd *const cmds[] = {
	&cmd_create, &cmd_remove, &cmd_mkfs, &cmd_info, &cmd_report, &cmd_reset,
	&cmd_finish, &cmd_open, &cmd_close, &cmd_check, &cmd_seal, &cmd_stat,
	&cmd_inject,
};
#define NR_CMDS	(sizeof(cmds) / sizeof(cmds[0]))

static int print_help(void)
{
	size_t i;

	printf("Usage: " PROGRAM " COMMAND [OPTIONS] ...\n\n"
	       "Make zoned devices in files, format them, look at their zones, act on them.\n\n"
	       "Commands:\n");
	for (i = 0; i < NR_CMDS; i++)
		printf("  %-8s %s\n", cmds[i]->name, cmds[i]->summary);
	printf("\nOptions:\n"
	       "  -h, --help     show this help\n"
	       "  -V, --version  show the version\n\n"
	       "'" PROGRAM " COMMAND --help' shows the options of a command.\n");
	return finish_output(EXIT_DONE);
}

static const struct cmd *find(const char *name)
{
	size_t i;

	for (i = 0; i < NR_CMDS; i++)
		if (!strcmp(cmds[i]->name, name))
			return cmds[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct args a = { .argc = argc - 1, .argv = argv + 1 };
	const char *word = argc > 1 ? argv[1] : NULL;

	/* A limit of file sizes (ulimit -f) is an error like others. */
	signal(SIGXFSZ, SIG_IGN);
	if (!word) {
		fail("no command given (see '" PROGRAM " --help')");
		return EXIT_USAGE;
	}
	if (!strcmp(word, "-h") || !strcmp(word, "--help"))
		return print_help();
	if (!strcmp(word, "-V") || !strcmp(word, "--version")) {
		puts(PROGRAM " " ZONEFSD_VERSION);
		return finish_output(EXIT_DONE);
	}
	a.cmd = find(word);
	if (!a.cmd) {
		fail("%s: unknown %s (see '" PROGRAM " --help')", word,
		     word[0] == '-' ? "option" : "command");
		return EXIT_USAGE;
	}
	return a.cmd->run(&a);
}
