/** What holds where neither the command line nor the environment says otherwise. */
export const DEFAULTS = {
  reconcileMode: 'repair',
  reconcileIntervalMs: 60_000,
  changeTimeoutMs: 30_000,
  namesDir: '/etc/netns',
} as const;
