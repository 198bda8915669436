// A film that the server has made, for a page that has none yet.

const WAIT_MS = 4000; // until the server is asked again

export class Demo {
  constructor(video) {
    this.video = video;
    this.wanted = false;
  }

  get plays() {
    return this.wanted && Boolean(this.video.src);
  }

  show(wanted) {
    this.wanted = wanted;
    this.video.hidden = !this.plays;
    if (!wanted) this.video.pause();
    else if (this.plays) this.video.play().catch(() => {});
    else if (!this.asking) this.load();
  }

  async load() {
    this.asking = true;
    const answer = await fetch('/demo.mp4').catch(() => null);
    this.asking = false;
    if (answer?.ok) this.video.src = URL.createObjectURL(await answer.blob());
    else setTimeout(() => this.show(this.wanted), WAIT_MS);
    if (answer?.ok) this.show(this.wanted);
  }
}
