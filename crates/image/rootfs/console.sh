# A script types at this console: programs shall not ask, not read ahead, and not draw. The shell
# shows every line when it reads it, so that each stands before what comes of it.
if [ -z "$OMNI_SCRIPT" ] && grep -qs agetty.autologin /proc/cmdline; then
	export OMNI_SCRIPT=1 TERM=dumb NO_COLOR=1 PAGER=cat SYSTEMD_PAGER=cat
	export DEBIAN_FRONTEND=noninteractive APT_CONFIG=/usr/lib/omnivisor/apt.conf
	if [ -n "$BASH" ]; then
		stty -echo rows 24 cols 200
		export PS1='\u@\h:\w\$ '
		# From here on nothing that is typed is lost.
		cat /usr/lib/omnivisor/banner
		exec bash --noprofile --norc --noediting -v
	fi
fi
