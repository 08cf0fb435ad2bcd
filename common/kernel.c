#include "common/kernel.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* landlock_create_ruleset(2) and seccomp(2), by the kernel's numbers: Debian 12's headers may know fewer. */
enum { LANDLOCK_CREATE = 444, LANDLOCK_VERSION_FLAG = 1, GET_ACTION_AVAIL = 2 };

int
kernel_landlock(void)
{
	long abi = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION_FLAG);

	return abi > 0 ? (int)abi : 0;
}

bool
kernel_has_seccomp(void)
{
	const uint32_t action = 0x00050000; /* SECCOMP_RET_ERRNO */

	return syscall(SYS_seccomp, GET_ACTION_AVAIL, 0, &action) == 0;
}
