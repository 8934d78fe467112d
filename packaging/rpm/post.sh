for folder in /var/lib/ddnsd /var/log/ddnsd; do
    [ -d $folder ] || install -d $folder
done
chown ddnsd:ddnsd /var/lib/ddnsd /var/log/ddnsd
chmod 0750 /var/lib/ddnsd
chmod 0770 /var/log/ddnsd
chown root:ddnsd /etc/ddnsd
chmod 0750 /etc/ddnsd
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # as the distribution's presets say; most leave a new service disabled
    [ "$1" -ne 1 ] || systemctl --no-reload preset ddnsd.service || :
fi
