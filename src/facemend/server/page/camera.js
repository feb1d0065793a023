// A picture from the camera, as a File. Where the browser gives pages no camera, its own file dialog takes over.

/** `taken` gets the File; `fallback` is called where there is no camera. */
export function openCamera(find, taken, fallback) {
  const dialog = find("camera-dialog");
  const video = find("video");
  if (!navigator.mediaDevices?.getUserMedia) {
    fallback();
    return;
  }
  navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1920 } } }).then(
    (stream) => {
      const end = new AbortController();
      const { signal } = end;
      video.srcObject = stream;
      video.play();
      dialog.showModal();
      find("shoot").addEventListener("click", () => {
        const canvas = document.createElement("canvas");
        canvas.width = video.videoWidth;
        canvas.height = video.videoHeight;
        canvas.getContext("2d").drawImage(video, 0, 0);
        canvas.toBlob((blob) => taken(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.95);
        dialog.close();
      }, { signal });
      find("camera-close").addEventListener("click", () => dialog.close(), { signal });
      dialog.addEventListener("close", () => {
        stream.getTracks().forEach((track) => track.stop());
        video.srcObject = null;
        end.abort();
      }, { signal });
    },
    () => fallback(),
  );
}
