/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zimpostor PID MNT [FUSE OPTION...]: a FUSE file system that is none of ours and
 * says it is, with process PID as its daemon. Runs in the foreground.
 */
#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DIR_PATH	"/.zonefsd"
#define INFO_PATH	DIR_PATH "/info"

static const char *info(void)
{
	return fuse_get_context()->private_data;
}

static int impostor_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	memset(st, 0, sizeof(*st));
	st->st_nlink = 1;
	if (!strcmp(path, "/") || !strcmp(path, DIR_PATH)) {
		st->st_mode = S_IFDIR | 0755;
		return 0;
	}
	if (strcmp(path, INFO_PATH))
		return -ENOENT;
	st->st_mode = S_IFREG | 0644;
	st->st_size = (off_t)strlen(info());
	return 0;
}

static int impostor_read(const char *path, char *buf, size_t len, off_t off,
			 struct fuse_file_info *fi)
{
	size_t have = strlen(info());

	if (strcmp(path, INFO_PATH))
		return -EISDIR;
	if ((size_t)off >= have)
		return 0;
	if (len > have - (size_t)off)
		len = have - (size_t)off;
	memcpy(buf, info() + off, len);
	return (int)len;
}

int main(int argc, char **argv)
{
	static const struct fuse_operations ops = {
		.getattr = impostor_getattr, .read = impostor_read,
	};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char text[64];
	int ret;

	if (argc < 3) {
		fprintf(stderr, "usage: zimpostor PID MNT [FUSE OPTION...]\n");
		return 2;
	}
	snprintf(text, sizeof(text), "pid %s\n", argv[1]);
	fuse_opt_add_arg(&args, argv[0]);
	fuse_opt_add_arg(&args, "-f");
	fuse_opt_add_arg(&args, "-osubtype=zonefsd,fsname=impostor");
	for (int i = 2; i < argc; i++)
		fuse_opt_add_arg(&args, argv[i]);
	ret = fuse_main(args.argc, args.argv, &ops, text);
	fuse_opt_free_args(&args);
	return ret;
}
