#include "receiver/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sched.h>
#include <seccomp.h>

#include "common/kernel.h"

/* Kernel numbers; Debian 12's headers know fewer rights than newer kernels do. */
enum { LANDLOCK_CREATE = 444, LANDLOCK_RESTRICT = 446 };

struct landlock_attr { uint64_t fs, net, scopes; };

static bool
landlock_nothing(bool *supported, struct err *err)
{
	/* File rights per ABI: 13 in the first, then refer, truncate, ioctl on devices; the fourth brought bind and connect. */
	static const unsigned fs_rights[] = { 0, 13, 14, 15, 15, 16 };
	struct landlock_attr attr = { 0, 0, 0 };
	int abi = kernel_landlock();
	long fd;

	*supported = abi > 0;
	if (!*supported)
		return true;
	attr.fs = (UINT64_C(1) << fs_rights[abi > 5 ? 5 : abi]) - 1;
	attr.net = abi >= 4 ? 3 : 0;
	attr.scopes = abi >= 6 ? 3 : 0; /* no abstract sockets, no signals to the outside */
	fd = syscall(LANDLOCK_CREATE, &attr, abi >= 6 ? sizeof(attr) : abi >= 4 ? 16 : 8, 0);
	if (fd < 0 || syscall(LANDLOCK_RESTRICT, (int)fd, 0) != 0)
		return err_errno(err, errno, "landlock");
	close((int)fd);
	return true;
}

static const int everybody[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(close),
	SCMP_SYS(fstat), SCMP_SYS(lseek), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
	SCMP_SYS(sync_file_range), SCMP_SYS(copy_file_range), SCMP_SYS(dup), SCMP_SYS(memfd_create), SCMP_SYS(pipe2), SCMP_SYS(eventfd2),
	SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(shutdown), SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select),
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(mmap),
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(getgid), SCMP_SYS(geteuid), SCMP_SYS(getegid), SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
	SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getrusage), SCMP_SYS(setitimer),
};

/* Not F_SETLEASE (a lease freezes an arrived file: only the warden may take one) and not F_SETOWN, which sends signals. */
static const unsigned controls[] = { F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_ADD_SEALS, F_GET_SEALS };
static const unsigned device_controls[] = { FIONREAD, FIONBIO };

static const int spawner_only[] = {
	SCMP_SYS(clone), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(wait4), SCMP_SYS(waitid), SCMP_SYS(pidfd_open), SCMP_SYS(prctl),
	SCMP_SYS(seccomp), SCMP_SYS(set_tid_address), SCMP_SYS(getppid),
};

static bool
allow(scmp_filter_ctx f, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0) != 0)
			return false;
	return true;
}

/* Calls whose second argument says what they do. */
static bool
allow_some(scmp_filter_ctx f, int call, const unsigned *kinds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1, SCMP_A1(SCMP_CMP_EQ, kinds[i], 0)) != 0)
			return false;
	return true;
}

static bool
filter(bool forks, struct err *err)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	bool good = f != NULL && allow(f, everybody, sizeof(everybody) / sizeof(everybody[0])) &&
	            allow_some(f, SCMP_SYS(fcntl), controls, sizeof(controls) / sizeof(controls[0])) &&
	            allow_some(f, SCMP_SYS(ioctl), device_controls, sizeof(device_controls) / sizeof(device_controls[0])) &&
	            /* Its own limits, and only to look at. */
	            seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0)) == 0 &&
	            seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;

	if (good && forks)
		good = allow(f, spawner_only, sizeof(spawner_only) / sizeof(spawner_only[0]));
	else if (good)
		good = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) == 0;
	good = good && seccomp_load(f) == 0;
	seccomp_release(f);
	return good ? true : err_set(err, ERR_OPERATOR, 0, "seccomp cannot be used here");
}

bool
jail_spawner(bool *landlock, struct err *err)
{
	struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
		return err_errno(err, errno, "prctl");
	return landlock_nothing(landlock, err) && filter(true, err);
}

bool
jail_session(struct err *err)
{
	return filter(false, err);
}
