"""Delete uploads that no job reads any more."""

from datetime import datetime

from fornada.errors import JobNotFoundError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.keys import gateway as gateway_keys
from fornada.parallel import in_parallel


def delete_upload_of(manifest: JobManifest, *, jobs: JobStore) -> None:
    """Delete the upload that a job read, unless another job reads it, too."""
    upload = gateway_keys.upload_of(manifest.shards[0].objects[0].key)
    if upload is None:
        return
    jobs.objects.delete(upload.job(manifest.job_id))
    if not _is_read(upload, jobs):
        _delete(upload, jobs)


def purge_uploads(jobs: JobStore, *, limit: datetime) -> None:
    """Delete uploads that no job reads, and of which nothing was put there since `limit`."""
    for owner in list(jobs.objects.list_folders(gateway_keys.UPLOADS_PREFIX)):
        for upload_id in list(jobs.objects.list_folders(gateway_keys.owned_uploads(owner))):
            upload = gateway_keys.UploadKeys(owner, upload_id)
            found = jobs.objects.list(upload.prefix)
            newest = max((info.modified_at for info in found), default=limit)
            if newest < limit and not _is_read(upload, jobs):
                _delete(upload, jobs)


def _is_read(upload: gateway_keys.UploadKeys, jobs: JobStore) -> bool:
    for info in jobs.objects.list(upload.jobs):
        try:
            jobs.require(info.key.removeprefix(upload.jobs))
        except JobNotFoundError:
            # It was never submitted, or is deleted.
            continue
        return True
    return False


def _delete(upload: gateway_keys.UploadKeys, jobs: JobStore) -> None:
    below = [info.key for info in jobs.objects.list(upload.prefix) if info.key != upload.record]
    for _ in in_parallel(jobs.objects.delete, below):
        pass
    jobs.objects.delete(upload.record)
