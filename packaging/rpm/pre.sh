getent group ddnsd >/dev/null || groupadd --system ddnsd
getent passwd ddnsd >/dev/null || useradd --system --gid ddnsd --home-dir /var/lib/ddnsd --no-create-home \
    --shell /sbin/nologin --comment "Dynamic DNS daemon" ddnsd
