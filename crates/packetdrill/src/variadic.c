/* The two functions of the interface that take variable arguments. As libc's
 * own, they read one word whatever the command is, and hand it on; whether it
 * means anything is for the other side to know. */

#include <stdarg.h>

int crore_packetdrill_fcntl_fixed(void *userdata, int fd, int cmd, long argument);
int crore_packetdrill_ioctl_fixed(void *userdata, int fd, unsigned long request, void *argument);

int crore_packetdrill_fcntl(void *userdata, int fd, int cmd, ...)
{
	va_list arguments;
	long argument;

	va_start(arguments, cmd);
	argument = va_arg(arguments, long);
	va_end(arguments);
	return crore_packetdrill_fcntl_fixed(userdata, fd, cmd, argument);
}

int crore_packetdrill_ioctl(void *userdata, int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return crore_packetdrill_ioctl_fixed(userdata, fd, request, argument);
}
