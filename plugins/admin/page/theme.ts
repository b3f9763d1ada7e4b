import { useEffect, useState } from 'preact/hooks';

export type Theme = 'light' | 'dark';

const dark = matchMedia('(prefers-color-scheme: dark)');
const NAME = 'plugin-server-theme';

/** The theme in force: the reader's choice, else what the system says, followed as that changes. */
export function useTheme(): [Theme, () => void] {
  const [chosen, choose] = useState<string | null>(() => localStorage.getItem(NAME));
  const [system, setSystem] = useState<Theme>(dark.matches ? 'dark' : 'light');
  useEffect(() => {
    const follow = () => setSystem(dark.matches ? 'dark' : 'light');
    dark.addEventListener('change', follow);
    return () => dark.removeEventListener('change', follow);
  }, []);
  const theme = chosen === 'light' || chosen === 'dark' ? chosen : system;
  document.documentElement.dataset.theme = theme;
  const toggle = () => {
    const next = theme === 'dark' ? 'light' : 'dark';
    if (next === system) localStorage.removeItem(NAME);
    else localStorage.setItem(NAME, next);
    choose(next === system ? null : next);
  };
  return [theme, toggle];
}
