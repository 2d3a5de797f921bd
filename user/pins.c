// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Directories on a BPF file system; see pins.h. */
#include "pins.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PIN_MODE 0700

int gate_pins_path(char *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(out, GATE_PIN_PATH, fmt, ap);
	va_end(ap);
	return n < 0 || n >= GATE_PIN_PATH ? -ENAMETOOLONG : 0;
}

int gate_pins_mkdir(const char *path)
{
	return mkdir(path, PIN_MODE) < 0 && errno != EEXIST ? -errno : 0;
}

static bool on_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* mkdir -p, but only below a directory that is on a BPF file system. */
static int make_on_bpffs(const char *path)
{
	char parent[GATE_PIN_PATH];

	if (access(path, F_OK) == 0)
		return on_bpffs(path) ? 0 : -ENOTSUP;
	if (errno != ENOENT)
		return -errno;
	int err = gate_pins_path(parent, "%s", path);
	if (err)
		return err;
	char *slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return -ENOTSUP;
	*slash = '\0';
	err = make_on_bpffs(parent);
	return err ? err : gate_pins_mkdir(path);
}

/* The directory that should be a BPF file system for `pin` to be on one. */
static void mount_point(const char *pin, char *out)
{
	const char *slash = strrchr(pin, '/');

	if (!strncmp(pin, "/sys/fs/bpf", 11))
		snprintf(out, GATE_PIN_PATH, "/sys/fs/bpf");
	else if (access(pin, F_OK) == 0 || !slash || slash == pin)
		snprintf(out, GATE_PIN_PATH, "%s", pin);
	else
		snprintf(out, GATE_PIN_PATH, "%.*s", (int)(slash - pin), pin);
}

int gate_pins_open(const char *pin, int *out, struct gate_error *err)
{
	char path[GATE_PIN_PATH], where[GATE_PIN_PATH];

	if (gate_pins_path(path, "%s", pin) < 0 || *pin != '/')
		return gate_error_set(err, GATE_ERR_USAGE,
				      "the pin directory must be an absolute path of at most %d "
				      "bytes",
				      GATE_PIN_PATH - 1);
	/* a trailing slash would make the parent of the path the path itself */
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';

	int r = make_on_bpffs(path);
	if (r == -ENOTSUP) {
		mount_point(path, where);
		return gate_error_set(err, GATE_ERR_FAILED,
				      "the pin directory %s is not on a BPF file system: mount one "
				      "with `mount -t bpf bpf %s`",
				      path, where);
	}
	int fd = r ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return gate_error_set(err, GATE_ERR_FAILED, "cannot use the pin directory %s: %s",
				      path, strerror(r ? -r : errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = errno;
		close(fd);
		if (r == EWOULDBLOCK)
			return gate_error_set(err, GATE_ERR_FAILED,
					      "another gate25d is running on the pin directory %s",
					      path);
		return gate_error_set(err, GATE_ERR_FAILED, "cannot lock the pin directory %s: %s",
				      path, strerror(r));
	}
	*out = fd;
	return 0;
}

int gate_pins_list(const char *path, int (*cb)(void *, const char *name), void *arg)
{
	DIR *d = opendir(path);
	int err = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	for (struct dirent *e = readdir(d); e && !err; e = readdir(d))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			err = cb(arg, e->d_name);
	closedir(d);
	return err;
}

static int remove_entry(void *arg, const char *name)
{
	char path[GATE_PIN_PATH];
	int err = gate_pins_path(path, "%s/%s", (const char *)arg, name);

	return err ? err : gate_pins_remove(path);
}

int gate_pins_remove(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	int err = gate_pins_list(path, remove_entry, (void *)path);
	if (err)
		return err;
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

int gate_pins_swap(const char *from, const char *to)
{
	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE))
		return 0;
	if (errno != ENOENT)
		return -errno;
	return rename(from, to) < 0 ? -errno : 0;
}
