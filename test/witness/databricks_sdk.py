"""What a user's Python program does with databricks-sdk; each function returns plain JSON for the test to judge."""

import base64
import io
import time

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import DatabricksError
from databricks.sdk.service import iam, jobs, sql, workspace


def error_of(call, *arguments, **named):
    """The class of SDK error that a call raises, its code and message."""
    try:
        call(*arguments, **named)
    except DatabricksError as error:
        return [type(error).__name__, error.error_code, str(error)]
    return None


def who():
    w = WorkspaceClient()
    me = w.current_user.me()
    return {"user": me.user_name, "workspace_id": w.get_workspace_id(), "auth": w.config.auth_type}


def files(folder):
    w = WorkspaceClient()
    w.workspace.mkdirs(folder)
    binary = bytes(range(256)) * 40
    w.workspace.upload(f"{folder}/binary.bin", io.BytesIO(binary), format=workspace.ImportFormat.AUTO)
    w.workspace.upload(f"{folder}/nb2.py", io.BytesIO(b"print(1)"))
    w.workspace.import_(
        f"{folder}/query", content=base64.b64encode(b"SELECT 1").decode(), format=workspace.ImportFormat.SOURCE, language=workspace.Language.SQL
    )
    raw = f"{folder}/raw file.txt"
    escaped = raw.strip("/").replace("/", "%2F").replace(" ", "%20")
    w.api_client.do("POST", f"/api/2.0/workspace-files/import-file/{escaped}", query={"overwrite": "false"}, data=b"raw")
    listed = sorted([o.object_type.value, o.path.removeprefix(folder), o.language.value if o.language else None] for o in w.workspace.list(folder))
    with w.workspace.download(f"{folder}/binary.bin") as file:
        same = file.read() == binary
    with w.workspace.download(f"{folder}/nb2.py") as file:
        notebook = file.read().decode()
    exported = base64.b64decode(w.workspace.export(f"{folder}/query").content).decode()
    again = error_of(w.workspace.upload, f"{folder}/binary.bin", io.BytesIO(b""), format=workspace.ImportFormat.AUTO)
    w.workspace.upload(f"{folder}/binary.bin", io.BytesIO(b"new"), format=workspace.ImportFormat.AUTO, overwrite=True)
    size = w.workspace.get_status(f"/Workspace{folder}/binary.bin").size
    not_empty = error_of(w.workspace.delete, folder)
    w.workspace.delete(folder, recursive=True)
    gone = error_of(w.workspace.get_status, folder)
    return dict(listed=listed, same=same, notebook=notebook, exported=exported, again=again, size=size, not_empty=not_empty, gone=gone)


def volumes(folder):
    w = WorkspaceClient()
    data = b"volume data" * 1000
    w.files.create_directory(folder)
    w.files.upload(f"{folder}/a b.bin", io.BytesIO(data))
    same = w.files.download(f"{folder}/a b.bin").contents.read() == data
    size = w.files.get_metadata(f"{folder}/a b.bin").content_length
    listed = [[e.path, e.is_directory, e.file_size] for e in w.files.list_directory_contents(folder)]
    dbfs = [f.path for f in w.dbfs.list(folder)]
    w.files.delete(f"{folder}/a b.bin")
    gone = error_of(w.files.get_metadata, f"{folder}/a b.bin")
    return dict(same=same, size=size, listed=listed, dbfs=dbfs, gone=gone[0])


def secrets(scope):
    w = WorkspaceClient()
    w.secrets.create_scope(scope)
    twice = error_of(w.secrets.create_scope, scope)
    w.secrets.put_secret(scope, "password", string_value="pä$$ word")
    w.secrets.put_secret(scope, "bytes", bytes_value=base64.b64encode(b"\x00\xff").decode())
    value = w.dbutils.secrets.get(scope, "password")
    raw = list(w.dbutils.secrets.getBytes(scope, "bytes"))
    keys = sorted(s.key for s in w.secrets.list_secrets(scope))
    scopes = scope in [s.name for s in w.secrets.list_scopes()]
    unknown = error_of(w.secrets.get_secret, scope, "none")
    w.secrets.delete_secret(scope, "bytes")
    w.secrets.delete_scope(scope)
    gone = error_of(w.secrets.get_secret, scope, "password")
    return dict(twice=twice, value=value, raw=raw, keys=keys, scopes=scopes, unknown=unknown, gone=gone)


def notebook_task(key, path, **more):
    return jobs.Task(task_key=key, notebook_task=jobs.NotebookTask(notebook_path=path), **more)


def job_definitions(path):
    w = WorkspaceClient()
    names = [f"witness {time.time_ns()} {n}" for n in range(23)]
    ids = [w.jobs.create(name=name, tasks=[notebook_task("a", path)]).job_id for name in names]
    listed = [job.job_id for job in w.jobs.list(limit=10)]
    by_name = [job.job_id for job in w.jobs.list(name=names[5].upper(), expand_tasks=True)]
    w.jobs.update(ids[0], new_settings=jobs.JobSettings(timeout_seconds=77), fields_to_remove=["tasks/a"])
    updated = w.jobs.get(ids[0]).settings.as_dict()
    w.jobs.reset(ids[0], jobs.JobSettings(name="reset"))
    reset = w.jobs.get(ids[0]).settings.as_dict()
    grants = w.permissions.set("jobs", str(ids[1]), access_control_list=[iam.AccessControlRequest(group_name="users", permission_level=iam.PermissionLevel.CAN_VIEW)])
    granted = [[a.group_name, a.all_permissions[0].permission_level.value] for a in w.permissions.get("jobs", str(ids[1])).access_control_list]
    for job_id in ids:
        w.jobs.delete(job_id)
    gone = error_of(w.jobs.get, ids[0])
    return dict(
        paged=[i for i in listed if i in ids] == ids[::-1], by_name=by_name == [ids[5]], updated=updated, reset=reset,
        granted=granted, object_type=grants.object_type, gone=[gone[0], "does not exist" in gone[2]],
    )


def job_runs(good, bad, endless):
    """`bad` fails until its parameter `fixed` says true."""
    w = WorkspaceClient()
    created = w.jobs.create(
        name=f"witness run {time.time_ns()}",
        parameters=[jobs.JobParameterDefinition(name="who", default="nobody"), jobs.JobParameterDefinition(name="fixed", default="false")],
        tasks=[notebook_task("good", good), notebook_task("bad", bad, depends_on=[jobs.TaskDependency(task_key="good")])],
    )
    failed = None
    try:
        w.jobs.run_now_and_wait(created.job_id, job_parameters={"who": "wörld"})
    except Exception as error:
        # A run that failed is an answer, not an error: the waiter only stops at INTERNAL_ERROR.
        failed = repr(error)
    (run,) = w.jobs.list_runs(job_id=created.job_id, completed_only=True)
    run = w.jobs.get_run(run.run_id)
    outputs = {task.task_key: w.jobs.get_run_output(task.run_id) for task in run.tasks}
    repaired = w.jobs.repair_run_and_wait(run.run_id, rerun_all_failed_tasks=True, job_parameters={"fixed": "true"})
    history = w.jobs.get_run(run.run_id, include_history=True).repair_history
    endless_run = w.jobs.submit(run_name="endless", tasks=[jobs.SubmitTask(task_key="e", notebook_task=jobs.NotebookTask(notebook_path=endless))])
    while w.jobs.get_run(endless_run.run_id).tasks[0].state.life_cycle_state != jobs.RunLifeCycleState.RUNNING:
        time.sleep(0.1)
    cancelled = w.jobs.cancel_run_and_wait(endless_run.run_id)
    unknown = error_of(w.jobs.get_run, 12345)
    w.jobs.delete(created.job_id)
    return dict(
        failed=failed, result=run.state.result_state.value, status=run.status.termination_details.code.value,
        exit=outputs["good"].notebook_output.result, logs=outputs["good"].logs, error=outputs["bad"].error, trace=outputs["bad"].error_trace,
        repaired=repaired.state.result_state.value, history=[item.type.value for item in history],
        cancelled=cancelled.state.result_state.value, unknown=unknown[:2],
    )


def warehouses():
    w = WorkspaceClient()
    (only,) = w.warehouses.list()
    return dict(state=only.state == sql.State.RUNNING, path=w.warehouses.get(only.id).odbc_params.path, unknown=error_of(w.warehouses.get, "none")[0])


def refusals(host):
    wrong = WorkspaceClient(host=host, token="dapi-wrong")
    w = WorkspaceClient()
    return dict(
        wrong_token=error_of(wrong.current_user.me)[0],
        missing=error_of(w.workspace.get_status, "/none")[0],
        traversal=error_of(w.workspace.get_status, "/Users/../../etc/passwd")[:2],
        not_here=error_of(w.clusters.list_node_types)[1:],
    )


def service_principal(host, client_id, client_secret):
    right = WorkspaceClient(host=host, client_id=client_id, client_secret=client_secret)
    jobs_seen = isinstance(list(right.jobs.list()), list)
    wrong = None
    try:
        WorkspaceClient(host=host, client_id=client_id, client_secret="wrong").current_user.me()
    except Exception as error:
        wrong = str(error)
    return dict(auth=right.config.auth_type, user=right.current_user.me().user_name, jobs=jobs_seen, wrong=wrong)
