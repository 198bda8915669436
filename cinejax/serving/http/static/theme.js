// Light or dark: as the system, until the button chooses.

const dark = matchMedia('(prefers-color-scheme: dark)');
const theme = (name) => { document.documentElement.dataset.theme = name; };
const chosen = localStorage.getItem('theme');
theme(chosen ?? (dark.matches ? 'dark' : 'light'));
dark.onchange = () => {
  if (!localStorage.getItem('theme')) theme(dark.matches ? 'dark' : 'light');
};
document.getElementById('theme').onclick = () => {
  const other = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  theme(other);
  localStorage.setItem('theme', other);
};
