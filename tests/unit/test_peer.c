// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Rights of a peer, asked of the kernel over real sockets by real other users. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define STAFF	64001
#define READERS 64002
#define OTHER	64003
#define MANY	200 /* more groups than the first buffer holds */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct gate_peer_policy policy = { STAFF, READERS };

static const struct {
	const char *what;
	uid_t uid;
	gid_t gid;
	gid_t groups[3];
	unsigned ngroups;
	bool many; /* with MANY others in front */
	enum gate_right right;
} peers[] = {
	{ "root", 0, 0, { 0 }, 0, false, GATE_RIGHT_WRITE },
	{ "root without groups", 0, OTHER, { 0 }, 0, false, GATE_RIGHT_WRITE },
	{ "nobody of ours", 64100, OTHER, { OTHER }, 1, false, GATE_RIGHT_NONE },
	{ "gid 0 is not root", 64100, 0, { 0 }, 1, false, GATE_RIGHT_NONE },
	{ "staff by primary group", 64100, STAFF, { 0 }, 0, false, GATE_RIGHT_WRITE },
	{ "staff by supplementary group",
	  64100,
	  OTHER,
	  { OTHER, STAFF },
	  2,
	  false,
	  GATE_RIGHT_WRITE },
	{ "staff with many groups", 64100, OTHER, { STAFF }, 1, true, GATE_RIGHT_WRITE },
	{ "reader by primary group", 64100, READERS, { 0 }, 0, false, GATE_RIGHT_READ },
	{ "reader by supplementary group", 64100, OTHER, { READERS }, 1, false, GATE_RIGHT_READ },
	{ "reader and staff",
	  64100,
	  READERS,
	  { OTHER, READERS, STAFF },
	  3,
	  false,
	  GATE_RIGHT_WRITE },
};

static char dir[] = "/tmp/test_peer.XXXXXX";
static struct sockaddr_un address = { .sun_family = AF_UNIX };

/* Child: becomes the peer, connects, waits until the parent has looked. */
_Noreturn static void be_peer(unsigned i)
{
	gid_t groups[MANY + 3];
	unsigned n = 0, j;
	int fd;
	char c;

	for (j = 0; peers[i].many && j < MANY; j++)
		groups[n++] = 65000 + j;
	for (j = 0; j < peers[i].ngroups; j++)
		groups[n++] = peers[i].groups[j];
	if (setgroups(n, groups) || setresgid(peers[i].gid, peers[i].gid, peers[i].gid) ||
	    setresuid(peers[i].uid, peers[i].uid, peers[i].uid))
		_exit(1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		_exit(2);
	_exit(read(fd, &c, 1) < 0 ? 3 : 0);
}

static void test_rights(void **state)
{
	struct gate_peer peer;
	int listener, fd, status;
	unsigned i;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(chmod(address.sun_path, 0666), 0);
	assert_int_equal(listen(listener, 8), 0);
	for (i = 0; i < COUNT(peers); i++) {
		pid = fork();
		if (!pid)
			be_peer(i);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		memset(&peer, 0xff, sizeof(peer));
		assert_int_equal(gate_peer_get(fd, &policy, &peer), 0);
		close(fd);
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
		if (peer.right != peers[i].right || peer.uid != peers[i].uid)
			fail_msg("%s: uid %u right %d", peers[i].what, peer.uid, peer.right);
	}
	close(listener);
}

/* Without a group in the configuration nobody but root may. */
static void test_no_groups(void **state)
{
	static const struct gate_peer_policy none = { GATE_NO_GROUP, GATE_NO_GROUP };
	struct gate_peer peer;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(gate_peer_get(pair[0], &none, &peer), 0);
	assert_int_equal(peer.right, geteuid() ? GATE_RIGHT_NONE : GATE_RIGHT_WRITE);
	close(pair[0]);
	close(pair[1]);
}

static void test_no_socket(void **state)
{
	struct gate_peer peer = { .right = GATE_RIGHT_READ };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(gate_peer_get(fd, &policy, &peer), -ENOTSOCK);
	assert_int_equal(peer.right, GATE_RIGHT_READ); /* untouched */
	close(fd);
}

static void test_group_names(void **state)
{
	static const struct {
		const char *name;
		int ret;
		gid_t gid;
	} table[] = {
		{ "root", 0, 0 },
		{ "64001", 0, 64001 },
		{ "", 0, GATE_NO_GROUP },
		{ NULL, 0, GATE_NO_GROUP },
		{ "no-such-group", -ENOENT, 0 },
		{ "-1", -ENOENT, 0 },
		{ " 5", -ENOENT, 0 },
		{ "4294967295", -ENOENT, 0 },
		{ "12x", -ENOENT, 0 },
	};
	gid_t gid;
	unsigned i;

	for (i = 0; i < COUNT(table); i++) {
		gid = 4711;
		if (gate_peer_group(table[i].name, &gid) != table[i].ret ||
		    gid != (table[i].ret ? 4711 : table[i].gid))
			fail_msg("group \"%s\"", table[i].name);
	}
}

static void test_actor(void **state)
{
	struct gate_peer root = { 0 }, stranger = { .uid = 64123 };
	struct gate_actor actor;
	struct gate_error err;
	char name[80];

	assert_int_equal(gate_peer_actor(&root, NULL, &actor, &err), 0);
	assert_string_equal(actor.name, "root");
	assert_int_equal(gate_peer_actor(&stranger, "", &actor, &err), 0);
	assert_string_equal(actor.name, "uid 64123");
	assert_int_equal(gate_peer_actor(&stranger, "alice@panel", &actor, &err), 0);
	assert_string_equal(actor.name, "alice@panel");
	assert_int_equal(actor.uid, 64123);

	memset(name, 'x', 63);
	name[63] = '\0';
	assert_int_equal(gate_peer_actor(&root, name, &actor, &err), 0);
	name[63] = 'x';
	name[64] = '\0';
	assert_int_equal(gate_peer_actor(&root, name, &actor, &err), -EINVAL);
	assert_int_equal(gate_peer_actor(&root, "a\tb", &actor, &err), -EINVAL);
	assert_int_equal(err.code, GATE_ERR_USAGE);
	assert_int_equal(gate_peer_actor(&root,
					 "a\xc2\x9b"
					 "31m",
					 &actor, &err),
			 -EINVAL);
	assert_int_equal(gate_peer_actor(&root, "J\xc3\xbcrgen \xe2\x80\xa6", &actor, &err), 0);
}

/* In place of libc's, which may ask the network. */
static unsigned names_asked;

struct passwd *getpwuid(uid_t uid)
{
	static struct passwd root = { .pw_name = "root" };

	names_asked++;
	return uid ? NULL : &root;
}

/* Whichever uids they have, and whether anybody knows them. */
static void test_names_are_asked_for_once(void **state)
{
	struct gate_actor actor;
	struct gate_error err;
	char wanted[20];

	names_asked = 0;
	for (unsigned i = 0; i < 10 * 60; i++) {
		struct gate_peer peer = { .uid = 70000 + 16 * (i % 60) };

		snprintf(wanted, sizeof(wanted), "uid %u", peer.uid);
		assert_int_equal(gate_peer_actor(&peer, NULL, &actor, &err), 0);
		assert_string_equal(actor.name, wanted);
	}
	assert_int_equal(names_asked, 60);
	for (unsigned i = 0; i < 300; i++) /* more than are remembered */
		gate_peer_actor(&(struct gate_peer){ .uid = 80000 + i }, NULL, &actor, &err);
	assert_int_equal(gate_peer_actor(&(struct gate_peer){ 0 }, NULL, &actor, &err), 0);
	assert_string_equal(actor.name, "root");
}

static int setup(void **state)
{
	if (!mkdtemp(dir) || chmod(dir, 0755))
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(address.sun_path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights),	  cmocka_unit_test(test_no_groups),
		cmocka_unit_test(test_no_socket), cmocka_unit_test(test_group_names),
		cmocka_unit_test(test_actor),	  cmocka_unit_test(test_names_are_asked_for_once),
	};

	return cmocka_run_group_tests_name("peer", tests, setup, teardown);
}
