/* SPDX-License-Identifier: BSD-2-Clause */
/* zonefsd: mounts a zoned device so that every zone is a file. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon.h"
#include "fuse-log.h"
#include "options.h"
#include "serve.h"
#include "zonefsd/mounted.h"

/* For umount(8)'s helper, which reports how we ended. Without it we run as well. */
static void put_status(const struct options *o, const char *state, int exit_status,
		       const char *error)
{
	mounted_status_write(getpid(), o->device, o->mountpoint, state, exit_status, error);
}

static int fail(const struct zlog *log, const struct zerr *e)
{
	zlog(log, ZLOG_ERR, "%s", e->msg);
	return 1;
}

static int run(const struct options *o, struct daemon *d)
{
	struct zerr e = { "" };
	struct serve *s;
	int ret;

	mounted_status_prune();
	put_status(o, "starting", -1, NULL);
	ret = serve_start(o, &d->log, &s, &e);
	if (!ret && daemon_ready(d)) {
		serve_stop(s, &e);
		ret = zerr_set(&e, ECANCELED, "%s: interrupted", o->device);
	}
	if (ret) {
		mounted_status_remove(getpid());
		return fail(&d->log, &e);
	}
	put_status(o, "running", -1, NULL);
	serve_wait(s);
	put_status(o, "stopping", -1, NULL);
	ret = serve_stop(s, &e);
	if (ret) {
		put_status(o, "done", 1, e.msg);
		return fail(&d->log, &e);
	}
	/* A good end leaves nothing to read: nobody may come to remove it. */
	mounted_status_remove(getpid());
	return 0;
}

int main(int argc, char **argv)
{
	struct zerr e = { "" };
	struct options o;
	struct daemon d;
	int status;

	status = options_parse(&o, argc, argv);
	if (status < 0 && options_resolve(&o, &e)) {
		fprintf(stderr, PROGRAM ": %s\n", e.msg);
		status = 1;
	}
	if (status < 0)
		status = daemon_start(&d, o.foreground, o.debug);
	if (status < 0) {
		fuse_log_to(&d.log);
		status = run(&o, &d);
	}
	options_free(&o);
	return status;
}
