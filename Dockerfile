# netnsd in a container. It changes the network of whatever namespace it runs in, so it needs more than most:
#
#   docker run -d --name netnsd --init \
#     --network host \
#     --pid host \
#     --cap-add NET_ADMIN --cap-add SYS_ADMIN --cap-add SYS_PTRACE --cap-add NET_RAW \
#     --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
#     -v /run/netns:/run/netns:shared \
#     -v /etc/netns:/etc/netns \
#     -v /run/netnsd:/run/netnsd \
#     -v netnsd-state:/var/lib/netnsd \
#     netnsd
#
# --network host           "host" in the API is the network of the machine. Without it, it is the container's own:
#                          bridges and addresses then live in there, and go when the container goes.
# --pid host               to adopt a namespace by the id of a process on the machine, and to list the processes inside.
# NET_ADMIN                links, addresses, routes, firewall.
# SYS_ADMIN                to make network namespaces, to bind them in /run/netns, to enter them (setns(2)).
# SYS_PTRACE               to open /proc/PID/ns/net of processes that are not ours (ptrace(2), access mode checks).
# NET_RAW                  to ping.
# apparmor=unconfined      Docker's AppArmor profile forbids mount(2) even with SYS_ADMIN. (Its seccomp profile doesn't.)
# systempaths=unconfined   /proc/sys is read-only otherwise, and with it net.ipv4.ip_forward and all other sysctls.
# /run/netns ... shared    namespaces are mounts: only with shared propagation does `ip netns` on the machine see
#                          those made here, and netnsd those made there. On the machine it must be a shared mount
#                          beforehand; `ip netns add` makes it one.
# /etc/netns               hosts and resolv.conf of namespaces, which `ip netns exec` on the machine uses.
# /run/netnsd              the socket by which the machine calls the API.
# /var/lib/netnsd          the state. Without it, a new container knows nothing of what the one before had made.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No install scripts: no dependency needs one (better-sqlite3 brings its binaries along).
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN node_modules/.bin/tsc -p tsconfig.build.json \
  && cp -R src/db/migrations dist/db/ \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-bookworm-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends conntrack ethtool iproute2 iptables iputils-ping mount procps util-linux \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
COPY openapi ./openapi
ENV NODE_ENV=production
VOLUME /var/lib/netnsd
# By the socket, since that needs no token. If NETNSD_LISTEN leaves the socket out, replace this (--health-cmd).
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["node", "-e", "require('node:http').get({ socketPath: '/run/netnsd/netnsd.sock', path: '/healthz' }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/main.js"]
