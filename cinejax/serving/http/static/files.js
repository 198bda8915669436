// Accepts files that are chosen or dropped on the page: a screenplay, which is
// run as a new film, or a picture, which is added to the cast.

// nodes: {open, file}; on: {run, picture, fail}
export function acceptFiles({ open, file: input }, on) {
  const run = async (file) => {
    if (!file) return;
    try {
      await on.run(JSON.parse(await file.text()));
    } catch (error) {
      on.fail(error instanceof SyntaxError
        ? new Error(`${file.name} is not JSON`) : error);
    } finally {
      input.value = ''; // so that the same file can be chosen again
    }
  };
  open.onclick = () => input.click();
  input.onchange = () => run(input.files[0]);
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file?.type.startsWith('image/')) on.picture(file);
    else run(file);
  });
}
