/** Where netnsd listens. */
export type ListenAddress =
  { transport: 'unix'; path: string } | { transport: 'tcp'; host: string; port: number };
