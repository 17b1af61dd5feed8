import { headers } from 'next/headers';

export default async function Page() {
  // Rendered for each request: who reads its headers cannot be made in advance.
  const host = (await headers()).get('host');
  return (
    <p>
      pid {process.pid}, asked for {host}
    </p>
  );
}
